"""What is served over HTTP: health, and the pages that customers reach from a mail."""
