"""From folders to batches: discovery, manifest, patient-level split, unpaired sampling."""
