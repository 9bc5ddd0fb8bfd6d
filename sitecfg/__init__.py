"""What a site is: typed settings, units, logical names, and the tree of errors. Knows no other room."""
