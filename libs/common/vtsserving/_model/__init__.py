"""A saved model: its tag, signatures, options, files and what is known about it."""
