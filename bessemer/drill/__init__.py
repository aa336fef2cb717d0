"""The drill: trains a project undisturbed, then with one disturbance at a time, and compares the numbers."""
