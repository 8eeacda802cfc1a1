# The child process of counts.py: Rscript counts.R DATA.csv FORMULA FAMILY REPEATS, factors being the text columns.
# Prints the CPU seconds of every fit and its deviance.
suppressPackageStartupMessages(library(lme4))
asked <- commandArgs(TRUE)
table <- read.csv(asked[1], stringsAsFactors = TRUE, colClasses = NA)
fit <- function() suppressMessages(suppressWarnings(glmer(as.formula(asked[2]), table, family = asked[3])))
invisible(fit())
for (k in seq_len(as.integer(asked[4]))) {
  spent <- system.time(model <- fit())
  cat(spent[["user.self"]] + spent[["sys.self"]], -2 * as.numeric(logLik(model)), "\n")
}
