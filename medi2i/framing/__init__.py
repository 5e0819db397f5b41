"""How an image is framed: which rectangle of the patient it shows, and how that varies within a domain."""
