"""Files: NIfTI, DICOM and PNG in, NIfTI and PNG out."""
