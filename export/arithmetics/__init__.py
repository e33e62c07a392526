"""How weights are held and multiplied, one file a kind; `export.arithmetic` knows them all."""
