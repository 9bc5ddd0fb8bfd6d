"""What is true: every durable fact, behind SQLAlchemy. Knows sitecfg and kernels."""
