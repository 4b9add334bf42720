"""Reader studies: can experts tell synthetic scans from real ones?"""
