"""Email: SMTP out."""
