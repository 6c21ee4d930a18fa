"""Detectors: from readings to verdicts, offline and online; knows nothing of the daemon."""
