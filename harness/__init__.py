"""How a TrustBox is reached: the interface (``target``) and the links that implement it."""
