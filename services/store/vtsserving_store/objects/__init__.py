"""Keys and bytes: an S3 bucket or a directory."""
