"""From raw scans to prepared samples."""
