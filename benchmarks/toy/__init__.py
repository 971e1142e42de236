"""A tiny encoder, tiny tasks and a clone of the project that runs them; for tests as well."""
