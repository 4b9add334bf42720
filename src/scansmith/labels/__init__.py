"""Label maps: what values mean, how lesions are cut, changed and placed."""
