"""What is recorded about a saved model: its tag, signatures, options, files and the rest of its document."""
