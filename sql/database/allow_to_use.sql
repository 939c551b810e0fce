select allow_to_use(%(schema)s, %(role)s);
