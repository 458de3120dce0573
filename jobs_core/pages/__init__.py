"""Pages beside the jobs page: received mail, the e-mail templates, and files made by jobs."""
