"""One module per tab: layout and wiring only."""
