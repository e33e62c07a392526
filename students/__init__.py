"""What a student is: spec, space, named shapes, the torch model, slicing, and stock BERT both ways."""
