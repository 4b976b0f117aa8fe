"""The Spark that the job is submitted to: its Java, its home, its output, and the folder that both sides see."""
