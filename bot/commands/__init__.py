"""One module a family of commands: parse, call one service, print. Nothing is decided here."""
