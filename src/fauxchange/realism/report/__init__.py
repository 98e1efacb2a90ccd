"""The similarity report: what is compared, the words, the plots and the page."""
