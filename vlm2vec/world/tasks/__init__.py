"""Tasks on the drawn world: rows of a query, its document and hard negatives, nothing drawn in ink yet."""
