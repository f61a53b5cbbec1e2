"""What the benchmarks of sending share: the mails, and installations of Aftercare that are to send them."""
