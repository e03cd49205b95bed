"""The single-file report of a study: words, tables, pictures and provenance in one page that needs no network."""
