"""The model: pure functions on frozen values. numpy only; knows no torch and none of the other packages."""
