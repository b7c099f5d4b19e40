"""An order on our side."""
