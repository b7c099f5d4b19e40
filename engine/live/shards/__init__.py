"""One run on several machines: a feed, engines that share its symbols, and trainers, with Redis between them."""
