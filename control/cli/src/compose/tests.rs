//! Tables of what keys become, of what is said of them, and of hostile files.
