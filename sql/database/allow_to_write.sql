select allow_to_write(%(role)s);
