"""`bayesglm` against R's figures, for what is odd about models rather than about data. Rung: R's figures.

Data are whole numbers and fractions of them, made by arithmetic that gives the same doubles in both languages. Figures
are of arm 1.13-1 on R 4.2.2, with

    i <- 0:39
    d <- data.frame(
      x = ((37 * i) %% 101) / 10 - 5, z = ((7 * i^2 + 3 * i) %% 53) / 4, two = ifelse(i %% 3 == 0, 9, 5),
      g = factor(c("c", "a", "b")[(i * i) %% 7 %% 3 + 1], levels = c("c", "a", "b")),
      h = factor(c("v", "u")[(i %/% 2) %% 2 + 1], levels = c("v", "u")),
      o = factor(c("lo", "mid", "hi", "top")[(3 * i) %% 11 %% 4 + 1], c("lo", "mid", "hi", "top"), ordered = TRUE),
      y = as.numeric((29 * i) %% 31 > 15), m = 4 + i %% 6, s = (13 * i) %% 5, count = (3 * i^2 + i) %% 7,
      q = 10 + ((17 * i) %% 23) / 5 + ((37 * i) %% 101) / 8, r = 1 + ((13 * i) %% 37) / 6, w = 1 + (11 * i) %% 4,
      f = 0.25 + ((5 * i) %% 9) / 8, e = ((19 * i) %% 29) / 40 - 0.3)
    d$apart <- as.numeric(d$x > 0.15); d$big <- 1000 + d$x
    d$none <- ifelse(i %% 9 == 4, NA, d$z)

Every call was made twice: as it stands, and with control = glm.control(epsilon = 1e-13), maxit = 10000. Coefficients,
standard errors (se.coef) and dispersion are of the second; iterations of both.
"""

import numpy as np
import pandas as pd
import pytest

import workbench as wb


def table(rows):
    i = np.arange(40)
    levels = {"g": ["c", "a", "b"], "h": ["v", "u"], "o": ["lo", "mid", "hi", "top"]}
    codes = {"g": i * i % 7 % 3, "h": i // 2 % 2, "o": 3 * i % 11 % 4}
    labels = {k: pd.Categorical.from_codes(codes[k], levels[k], ordered=k == "o") for k in levels}
    d = pd.DataFrame(labels).assign(
        x=37 * i % 101 / 10 - 5, z=(7 * i**2 + 3 * i) % 53 / 4, two=np.where(i % 3 == 0, 9, 5),
        y=(29 * i % 31 > 15) * 1, m=4 + i % 6, s=13 * i % 5, count=(3 * i**2 + i) % 7,
        q=10 + 17 * i % 23 / 5 + 37 * i % 101 / 8, r=1 + 13 * i % 37 / 6, w=1 + 11 * i % 4,
        f=0.25 + 5 * i % 9 / 8, e=19 * i % 29 / 40 - 0.3,
    )  # fmt: skip
    more = {"apart": (d["x"] > 0.15) * 1, "big": 1000 + d["x"]}
    return d.assign(**more, none=d["z"].where(i % 9 != 4)).iloc[:rows]


# call; formula, rows, arguments, coefficients, standard errors, dispersion, iterations: tight, default
R = [
    (
        # bayesglm(y ~ x + z + two, binomial, d, prior.mean = c(0.5, -1, 0), prior.scale = c(1, 0.3, Inf),
        #   prior.df = c(Inf, 1, 7))
        "y ~ x + z + two", 40,
        {"family": "binomial", "prior_mean": [0.5, -1, 0], "prior_scale": [1, 0.3, np.inf], "prior_df": [np.inf, 1, 7]},
        [2.46616115193828, 0.2099039212709945, -0.1241642238094373, -0.214864789949924],
        [1.55411874140678, 0.1021655566194342, 0.09553015446123714, 0.1830943124125417],
        1, 13, 9,
    ),
    (
        # bayesglm(q ~ x * g + z, gaussian, d)
        "q ~ x * g + z", 40,
        {"family": "gaussian"},
        [
            18.80002224518738, 1.561836693513896, -0.04109674036847563, 0.1660415356767878, -0.2288662189974875,
            -0.2839231107187504, -0.04470941093236264,
        ],
        [
            0.7482907864713724, 0.1983037854109674, 0.6750514441916402, 0.7314592823883738, 0.2185231320479488,
            0.2429895870425583, 0.06260802861224395,
        ],
        2.018232841118083, 19, 12,
    ),
    (
        # bayesglm(q ~ g:x + x + h, gaussian, d, prior.df = 7)
        "q ~ g:x + x + h", 40,
        {"family": "gaussian", "prior_df": 7},
        [
            19.20033953553157, 0.5547826006078592, 0.2853015732840177, 0.1960848159189255, 1.036453105083051,
            -1.368266188076664,
        ],
        [
            0.2739365875758126, 10.10855965226617, 10.10814269945243, 10.10830919932387, 10.1079401243303,
            0.3861468619117037,
        ],
        1.418438265991874, 16, 10,
    ),
    (
        # bayesglm(q ~ 0 + g:x + g + h, gaussian, d, weights = w)
        "q ~ 0 + g:x + g + h", 40,
        {"family": "gaussian", "weights": "w"},
        [
            1.176035671723023, 1.239273495213815, 0.9844087498185731, 16.58080889416441, 15.69514535314624,
            3.79169421000694,
        ],
        [
            1.048734635809307, 0.5105586996339573, 0.7369313071470545, 1.701493037106559, 2.529036466268832,
            2.077136541099549,
        ],
        110.640819903607, 12, 8,
    ),
    (
        # bayesglm(y ~ o + x, binomial, d, drop.baseline = FALSE)
        "y ~ o + x", 40,
        {"family": "binomial", "drop_baseline": False},
        [
            0.2226148423223533, -2.645865398629332e-16, 0.01223327905476855, 0.6204612480880273, 0.03774591365400858,
            0.05193269703847744,
        ],
        [1.29137883163392, 2.5, 0.6320310130890483, 0.6314018547779623, 0.7027716954558678, 0.124593085525006],
        1, 9, 6,
    ),
    (
        # bayesglm(cbind(s, m) ~ h * o, quasibinomial, d, prior.df = 4, drop.baseline = FALSE)
        "cbind(s, m) ~ h * o", 40,
        {"family": "quasibinomial", "prior_df": 4, "drop_baseline": False},
        [
            -1.160176787941813, 0.01213961530215505, -0.01213961530217532, 2.088445362024916e-15, 0.1490808353057562,
            -0.02811492613221453, -0.002135097971946783, 0.0242792306043264, -0.02427923060435147,
            0.1943597929411151, 0.08479129984507204, -0.07520013644662456, 0.02300777577976403, -0.4597703970717555,
            0.4231663918807458,
        ],
        [
            3.215218319043844, 2.473521032123433, 2.473521032123432, 2.942441502806493, 1.967838357434919,
            1.93027047169175, 1.884457894011754, 4.947042064246864, 4.947042064246864, 1.989239481055897,
            1.990612438726002, 1.9530294540597, 1.952787404837568, 1.90954892514547, 1.907109985010919,
        ],
        0.9894478713531341, 17, 11,
    ),
    (
        # bayesglm(y ~ 0 + x + z, binomial("probit"), d, prior.mean = 0.2)
        "y ~ 0 + x + z", 40,
        {"family": "binomial", "link": "probit", "prior_mean": 0.2},
        [0.01981552304650251, 0.01055940802577334],
        [0.06787295186960832, 0.02522364266293775],
        1, 6, 4,
    ),
    (
        # bayesglm(apart ~ x + two, binomial("cauchit"), d, prior.df = 0.5)
        "apart ~ x + two", 40,
        {"family": "binomial", "link": "cauchit", "prior_df": 0.5},
        [-0.5490012140412829, 10.0250353688875, -0.1247082633931083],
        [4.881259478163206, 7.203481729023395, 0.5492419134717025],
        1, 112, 71,
    ),
    (
        # bayesglm(apart ~ x, binomial("cloglog"), d)
        "apart ~ x", 40,
        {"family": "binomial", "link": "cloglog"},
        [-0.8042533809495913, 2.985110851872673],
        [0.7374548325760784, 1.280282793735769],
        1, 99, 62,
    ),
    (
        # bayesglm(y ~ z + h, binomial("cloglog"), d, weights = f, offset = e, prior.scale = 0.5, scaled = FALSE)
        "y ~ z + h", 40,
        {"family": "binomial", "link": "cloglog", "weights": "f", "offset": "e", "prior_scale": 0.5, "scaled": False},
        [0.0203214821060646, -0.03012076879624314, -0.02843480208981928],
        [0.5153946117082147, 0.06355157902175532, 0.3236780127584529],
        1, 13, 6,
    ),
    (
        # bayesglm(count ~ x + g + offset(log(m)), poisson, d, prior.scale = 0.5, prior.df = 7, scaled = FALSE,
        #   prior.mean.for.intercept = -2, prior.scale.for.intercept = 0.1, prior.df.for.intercept = Inf)
        "count ~ x + g + offset(log(m))", 40,
        {
            "family": "poisson", "prior_scale": 0.5, "prior_df": 7, "scaled": False, "prior_mean_for_intercept": -2,
            "prior_scale_for_intercept": 0.1, "prior_df_for_intercept": np.inf,
        },
        [-1.997806175981912, -0.02690305837023082, 0.9071696763521149, 0.918915806511217],
        [0.09494628876876186, 0.03944429567889496, 0.1684202771934575, 0.204105464453735],
        1, 13, 9,
    ),
    (
        # bayesglm(count ~ z + two, quasipoisson("sqrt"), d, prior.df = 3)
        "count ~ z + two", 40,
        {"family": "quasipoisson", "link": "sqrt", "prior_df": 3},
        [1.365734785588476, 0.00189662470346424, 0.00409591663585449],
        [0.368180949405335, 0.02190860056624585, 0.04534661458763654],
        1.071541328572792, 13, 9,
    ),
    (
        # bayesglm(r ~ x + g, Gamma("log"), d, weights = w, offset = e, prior.mean = 0.3, prior.scale = 0.2,
        #   prior.df = Inf)
        "r ~ x + g", 40,
        {
            "family": "gamma", "link": "log", "weights": "w", "offset": "e", "prior_mean": 0.3, "prior_scale": 0.2,
            "prior_df": np.inf,
        },
        [1.440843990012357, 0.2120468696040555, 0.1065263073887834, 0.3908811273012049],
        [0.2070852431485747, 0.02981440761563419, 0.1805721348663676, 0.1849724464251759],
        2.445020280166577, 137, 81,
    ),
    (
        # bayesglm(r ~ h + two, inverse.gaussian("inverse"), d, prior.scale = 0.1)
        "r ~ h + two", 40,
        {"family": "inverse_gaussian", "link": "inverse", "prior_scale": 0.1},
        [0.1514609189262231, -0.01611962547502557, 0.0181030906555039],
        [0.06154678466950493, 0.03270237496659507, 0.009135593341037434],
        0.04808348867479877, 15, 10,
    ),
    (
        # bayesglm(q ~ x + h, gaussian("log"), d, weights = f)
        "q ~ x + h", 40,
        {"family": "gaussian", "link": "log", "weights": "f"},
        [2.93837716679414, 0.0689768468880677, -0.08693071173659489],
        [0.01404221030191632, 0.003572169431203693, 0.01969332376135434],
        0.9486964621561751, 7, 5,
    ),
    (
        # bayesglm(q ~ x + none, gaussian, d, min.prior.scale = 3)
        "q ~ x + none", 40,
        {"family": "gaussian", "min_prior_scale": 3},
        [18.64247808574237, 1.348306265962551, -0.03523327684942681],
        [0.5106324948970121, 0.08331413373484056, 0.06345360231522112],
        1.827099058223783, 13, 9,
    ),
    (
        # bayesglm(y ~ big, binomial, d, prior.df = Inf)
        "y ~ big", 40,
        {"family": "binomial", "prior_df": np.inf},
        [-32.85886438367079, 0.0330605049610937],
        [104.5987261049878, 0.1046028377847348],
        1, 5, 4,
    ),
    (
        # bayesglm(q ~ x + z, gaussian, d, prior.scale = c(1e-08, 1e+08), prior.mean = c(2, 0),
        #   prior.scale.for.intercept = Inf, scaled = FALSE)
        "q ~ x + z", 40,
        {
            "family": "gaussian", "prior_scale": [1e-08, 1e+08], "prior_mean": [2, 0],
            "prior_scale_for_intercept": np.inf, "scaled": False,
        },
        [20.02455255098789, 1.999999999999997, -0.2184607987032929],
        [0.7393174264049919, 1.01342342002446e-08, 0.09248470055338515],
        5.197086028876037, 11, 8,
    ),
    (
        # bayesglm(y ~ x + z + two, binomial, d[1:3, ])
        "y ~ x + z + two", 3,
        {"family": "binomial"},
        [3.711962728157816, 0.1398185629511395, 0.08284617390487357, -0.4557313246975891],
        [4.026913117222382, 0.3091877413863667, 0.2545270163343601, 0.5378518240198784],
        1, 48, 27,
    ),
    (
        # bayesglm(q ~ 1, gaussian, d, prior.mean.for.intercept = -30, prior.scale.for.intercept = 0.1)
        "q ~ 1", 40,
        {"family": "gaussian", "prior_mean_for_intercept": -30, "prior_scale_for_intercept": 0.1},
        [18.45812059647807],
        [0.6628061394917552],
        17.57888487863709, 10, 6,
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("formula", "rows", "arguments", "coefficients", "errors", "dispersion", "tight", "default"),
    R,
    ids=[f"{case[2]['family']} {case[0]}" for case in R],
)
def test_r_figures(formula, rows, arguments, coefficients, errors, dispersion, tight, default):
    data = table(rows)
    fit = wb.bayesglm(formula, data, **arguments, tolerance=1e-13, max_iterations=10_000)
    error = fit.population.std_error
    far = np.abs(fit.mode.coefficients - coefficients)
    # where columns explain each other, R's zeros are zero to 1e-13 standard errors
    assert (far <= 1e-9 * np.abs(coefficients) + 1e-12 * error).all()
    np.testing.assert_allclose(error, errors, rtol=1e-9)
    assert fit.dispersion == pytest.approx(dispersion, rel=1e-10)
    assert (fit.iterations, fit.converged) == (tight, True)
    assert wb.bayesglm(formula, data, **arguments).iterations == default
