"""The job types that ship with the package, one module each."""
