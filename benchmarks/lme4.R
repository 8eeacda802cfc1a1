# The child process of lme4: Rscript lme4.R FOLDER FORMULA REPEATS SECONDS, with the columns in the folder.
# Says the same lines as measure.py.
suppressPackageStartupMessages(library(lme4))
asked <- commandArgs(TRUE)
folder <- asked[1]
formula <- as.formula(asked[2])
repeats <- as.integer(asked[3])
seconds <- as.numeric(asked[4])

say <- function(...) {
  cat(sprintf(...), "\n", sep = "")
  flush(stdout())
}

# resident memory or its peak in MB, "null" where the system does not tell
status <- function(key) {
  lines <- tryCatch(readLines("/proc/self/status"), error = function(e) character(), warning = function(w) character())
  line <- grep(key, lines, value = TRUE)
  if (length(line)) sprintf("%.3f", as.numeric(gsub("[^0-9]", "", line)) * 1024 / 1e6) else "null"
}

read_column <- function(name, kind, n) {
  path <- file.path(folder, name)
  if (kind == "number") return(readBin(path, "double", n, endian = "little"))
  codes <- readBin(path, "integer", n, endian = "little")
  levels <- readLines(paste0(path, ".levels"))
  switch(kind,
    integer = as.integer(levels)[codes],
    text = levels[codes],
    categorical = structure(codes, levels = levels, class = "factor")
  )
}

fit <- function(formula, frame) {
  model <- lmer(formula, frame)
  list(model = model, effects = ranef(model, condVar = FALSE))
}

invisible(suppressMessages(fit(Reaction ~ 1 + (1 | Subject), sleepstudy)))
columns <- read.delim(file.path(folder, "columns.tsv"), colClasses = c("character", "character", "integer"))
frame <- as.data.frame(Map(read_column, columns$name, columns$kind, columns$n))
invisible(gc())
try(cat("5", file = "/proc/self/clear_refs"), silent = TRUE)
held <- status("^VmRSS:")

answer <- NULL
left <- repeats + 1L
while (left > 0) {
  answer <- NULL
  invisible(gc())
  say('{"begin": true}')
  cpu <- proc.time()
  wall <- Sys.time()
  answer <- suppressMessages(fit(formula, frame))
  wall <- as.numeric(Sys.time() - wall, units = "secs")
  cpu <- sum((proc.time() - cpu)[c("user.self", "sys.self")])
  say('{"wall": %.17g, "cpu": %.17g}', wall, cpu)
  left <- if (left == repeats + 1L) max(1L, min(repeats, floor(seconds / wall))) else left - 1L
}
peak <- status("^VmHWM:")

table <- as.data.frame(VarCorr(answer$model))
table <- table[is.na(table$var2), ]
named <- ifelse(table$grp == "Residual", "Residual", paste(table$grp, table$var1))
sds <- paste(sprintf('"%s": %.17g', named, table$sdcor), collapse = ", ")
complaints <- answer$model@optinfo$conv$lme4$messages
note <- gsub('["\\\\]', "'", paste(complaints, collapse = "; "))
say(
  '{"held": %s, "peak": %s, "data": %.17g, "rows": %d, "criterion": %.17g, "sds": {%s}, "note": "%s"}',
  held, peak, as.numeric(object.size(frame)) / 1e6, nrow(frame), REMLcrit(answer$model), sds, note
)
