"""Choosing the student: controllers, proxies, methods, finalists, the search and its verdict."""
