"""What is said to a box: keys, identity, enclaves, integrity, and the factory run over them."""
