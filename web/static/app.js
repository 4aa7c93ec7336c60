// Keys, times and choices of the pages. Without it every page works by links and forms.
"use strict";
