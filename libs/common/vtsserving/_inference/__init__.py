"""The request side of inference: from packed arguments to a settled outcome."""
