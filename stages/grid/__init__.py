"""The grid's cells on workers of dask.distributed; no stages of the pipeline itself."""
