"""From a trained method and label maps to a labelled data set."""
