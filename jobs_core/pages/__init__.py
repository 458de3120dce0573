"""Pages beside the jobs page: received mail, the e-mail templates, and the files that jobs made."""
