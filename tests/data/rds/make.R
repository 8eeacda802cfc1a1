# R 4.2.2, lme4 1.1-31
saveRDS(lme4::sleepstudy, "sleepstudy.rds")
d <- data.frame(
  y = c(1.5, NA, 2), k = c(1L, NA, 3L), f = factor(c("b", NA, "a"), levels = c("b", "a")),
  o = factor(c("lo", "hi", "lo"), levels = c("lo", "hi"), ordered = TRUE), s = c("x", NA, "ü"),
  l = c(TRUE, NA, FALSE), t = as.Date(c("2020-01-01", NA, "2020-01-03"))
)
names(d)[1] <- "y one"
saveRDS(d, "mixed.rds")
saveRDS(structure(d, class = c("tbl_df", "tbl", "data.frame")), "tibble.rds")
saveRDS(list(a = 1), "list.rds")
