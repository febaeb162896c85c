"""HTML pages: frames shared by reports and studies."""
