"""Routes, a file for each subject."""
