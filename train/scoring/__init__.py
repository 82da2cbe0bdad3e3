"""Files of any size, scored by a SavedModel: in parts, each of which is done or not begun."""
