"""Evidence about a trained network: how often it is right, and how sure that figure is."""
