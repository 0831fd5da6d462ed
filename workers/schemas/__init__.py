"""Request schemas: one module per model family, free of torch and RDKit."""
