"""The shape of `results.json`, one file a writer; `medi2i.report.results` puts it together."""
