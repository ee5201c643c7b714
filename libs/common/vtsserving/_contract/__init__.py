"""The contract of a method at work: arguments checked against it, results cut by it, and seen where it is silent."""
