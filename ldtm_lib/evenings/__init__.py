"""What runs by itself: what an evening lacks, when it is tried again, and until when there is time."""
