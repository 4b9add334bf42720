"""Files: NIfTI, DICOM and PNG in, NIfTI and PNG out."""

from scansmith.io.scans import LABEL_READERS, READERS, read_scan, write_scan

__all__ = ["LABEL_READERS", "READERS", "read_scan", "write_scan"]
