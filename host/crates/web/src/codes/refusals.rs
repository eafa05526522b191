//! What people are told about each refusal of the books, in both languages.

use koban_domain::outcomes::Refusal;

use super::{Words, words};

/// What happened, and what to do next.
pub(super) fn words_of(refusal: Refusal) -> (Words, Words) {
    let (ja, en, next_ja, next_en) = match refusal {
        Refusal::AmountNotPositive => (
            "金額は1以上でなければなりません",
            "the amount must be more than zero",
            "1以上の金額を指定してください。",
            "Give an amount of at least one minor unit.",
        ),
        Refusal::UserNotFound => {
            ("利用者が見つかりません", "there is no such user", "相手のIDを確かめてください。", "Check the user's id.")
        }
        Refusal::MerchantNotFound => (
            "加盟店が見つかりません",
            "there is no such merchant",
            "加盟店のIDを確かめてください。",
            "Check the merchant's id.",
        ),
        Refusal::PaymentNotFound => (
            "支払いが見つかりません",
            "there is no such payment",
            "支払いのIDを確かめてください。",
            "Check the payment's id.",
        ),
        Refusal::ReviewNotFound => (
            "審査が見つかりません",
            "there is no such review",
            "審査のIDを確かめてください。",
            "Check the review's id.",
        ),
        Refusal::CampaignNotFound => (
            "キャンペーンが見つかりません",
            "there is no such campaign",
            "キャンペーンのIDを確かめてください。",
            "Check the campaign's id.",
        ),
        Refusal::LotNotFound => (
            "このボーナスが見つかりません",
            "there is no such lot of bonus",
            "ボーナスのIDを確かめてください。",
            "Check the lot's id.",
        ),
        Refusal::CampaignClosed => (
            "このキャンペーンは現在付与を行っていません",
            "the campaign grants nothing now",
            "キャンペーンを再開するか、別のキャンペーンから付与してください。",
            "Open the campaign again or extend it, or grant from another one with a new key.",
        ),
        Refusal::LotExpired => (
            "このボーナスは使えるようになる前に期限が切れます",
            "the bonus would end before it could be spent",
            "利用開始日より後の有効期限を指定してください。",
            "Let it end after the day on which it may first be spent, and not before today.",
        ),
        Refusal::LotEmpty => (
            "このボーナスの残りはありません",
            "nothing of this bonus is left",
            "何もする必要はありません。",
            "Nothing needs to be done: it was spent, has ended, or may be spent already.",
        ),
        Refusal::BudgetBelowGranted => (
            "予算が付与済みの額を下回っています",
            "the campaign has granted more than this budget",
            "付与済みの額以上の予算にするか、キャンペーンを終了してください。",
            "Give a budget of at least what was granted, or close the campaign.",
        ),
        Refusal::LotsFull => (
            "このウォレットのボーナスの件数が上限に達しています",
            "the wallet has as many lots of bonus as it may",
            "ボーナスが使われるか期限が切れてから、新しいキーでお試しください。",
            "Try with a new key once some of them were spent or have ended.",
        ),
        Refusal::CampaignBudgetExhausted => (
            "キャンペーンの予算を超えます",
            "the campaign's budget is used up",
            "少ない額にするか、予算を増やしてから新しいキーでお試しください。",
            "Grant less, or raise the budget and try with a new key.",
        ),
        Refusal::CampaignShareExhausted => (
            "このキャンペーンで一人が受け取れる上限を超えます",
            "the user has had from this campaign what one user may",
            "少ない額にするか、一人あたりの上限を上げてから新しいキーでお試しください。",
            "Grant less, or raise what one user may have and try with a new key.",
        ),
        Refusal::DisputeNotFound => (
            "異議申し立てが見つかりません",
            "there is no such dispute",
            "異議申し立てのIDを確かめてください。",
            "Check the dispute's id.",
        ),
        Refusal::ClosingNotFound => (
            "締めが見つかりません",
            "there is no such closing",
            "締めのIDを確かめてください。",
            "Check the closing's id.",
        ),
        Refusal::DisputeClosed => (
            "この異議申し立てはすでに終わっています",
            "the dispute was decided before or has ended",
            "いまの状態を確かめてください。",
            "Look at how the dispute stands now.",
        ),
        Refusal::PeriodClosed => (
            "この期間はすでに締められています",
            "the period was closed before",
            "締めの一覧を確かめるか、後の日を指定してください。",
            "Look at the list of closings, or name a later day.",
        ),
        Refusal::PeriodNotOver => (
            "この期間はまだ終わっていません",
            "the period has not ended",
            "今日（日本時間）までの日を指定してください。",
            "Name a day up to today in Japan.",
        ),
        Refusal::ClosingPaid => (
            "この締めに支払うものはもうありません",
            "nothing is due of this closing any more",
            "締めの状態と金額を確かめてください。",
            "Look at the closing's state and at what was due.",
        ),
        Refusal::PayoutReferenceUsed => (
            "この参照番号は別の支払いで使われています",
            "the reference is that of another payout",
            "銀行の明細の参照番号を確かめてください。",
            "Check the reference on the bank's statement.",
        ),
        Refusal::DisputeExceedsPayment => (
            "支払いの残りを超える金額です",
            "more would be contested than is left of the payment",
            "返金も異議もされていない残りの金額までにしてください。",
            "Ask for at most what is left of the payment: captured, less refunded and disputed.",
        ),
        Refusal::CreditInUse => (
            "加盟店の不足額がこの与信枠を超えています",
            "the merchant is further behind than this credit limit",
            "不足額以上の枠を指定するか、解消されるまでお待ちください。",
            "Set at least what the merchant is behind, or wait until it has caught up.",
        ),
        Refusal::SameParty => (
            "送り手と受け手が同じです",
            "sender and receiver are the same",
            "別の受け手を指定してください。",
            "Name another receiver.",
        ),
        Refusal::KeyFrozen => (
            "このAPIキーは凍結されています",
            "this API key is frozen",
            "運営にお問い合わせください。",
            "Ask the operator; another key of yours may still work.",
        ),
        Refusal::DeviceFrozen => (
            "この端末は凍結されています",
            "this device is frozen",
            "運営にお問い合わせいただくか、別の端末をお使いください。",
            "Ask the operator, or use another device with a new key.",
        ),
        Refusal::WalletFrozen => (
            "このウォレットは凍結されています",
            "the wallet is frozen",
            "運営にお問い合わせください。",
            "Ask the operator.",
        ),
        Refusal::AccountClosed => (
            "このアカウントは解約されています",
            "the account is closed",
            "残高の払い戻しは運営にお問い合わせください。",
            "Ask the operator about what it still held.",
        ),
        Refusal::MerchantFrozen => (
            "この加盟店は現在支払いを受け付けていません",
            "the merchant takes no payments now",
            "後ほど新しいキーでお試しください。",
            "Try later with a new key.",
        ),
        Refusal::ReceiverUnavailable => (
            "受け手は現在送金を受け取れません",
            "the receiver cannot take transfers now",
            "受け手に確かめてから、新しいキーでお送りください。",
            "Ask the receiver, then send with a new key.",
        ),
        Refusal::VerificationRevoked => (
            "本人確認が取り消されています",
            "the verification was revoked",
            "もう一度本人確認を申請してください。残高でのお支払いはできます。",
            "Submit your particulars anew; what is there may still be paid with.",
        ),
        Refusal::VerificationState => (
            "本人確認の状態がこの操作に合いません",
            "the verification does not stand where this begins",
            "利用者の `verification` を確かめてください。",
            "Read the user's `verification` first.",
        ),
        Refusal::HoldsOpen => (
            "終わっていない取引があります",
            "something is held or open and must end first",
            "取引が終わってからお試しください。",
            "Wait until holds and charges have ended, or end them.",
        ),
        Refusal::AdjustmentNotFound => {
            ("修正仕訳が見つかりません", "there is no such adjustment", "IDを確かめてください。", "Check its id.")
        }
        Refusal::AdjustmentClosed => (
            "この修正仕訳は決定済みか期限切れです",
            "the adjustment was decided before or has expired",
            "必要なら新しく起案してください。",
            "Propose a new one if it is still needed.",
        ),
        Refusal::SecondPersonRequired => (
            "起案者以外の運営者が決定してください",
            "another operator must decide this",
            "別の運営者に依頼してください。",
            "Ask a colleague: nobody decides what they proposed.",
        ),
        Refusal::CurrencyNotAccepted => (
            "この通貨は使えません",
            "this currency is not accepted here",
            "加盟店またはチャネルが扱う通貨を使ってください。",
            "Use a currency that the merchant or the channel takes.",
        ),
        Refusal::DeclinedByFraud => (
            "お支払いは承認されませんでした",
            "the payment was declined",
            "別の方法でお支払いいただくか、運営にお問い合わせください。",
            "Pay in another way, or ask the operator.",
        ),
        Refusal::StepUpRequired => (
            "本人確認をもう一度行う必要があります",
            "the payer must confirm who they are before this payment",
            "`step_up` をパスワードで確認し、同じ内容を新しいキーと `Koban-Step-Up` ヘッダーで送り直してください。",
            "Confirm the `step_up` with the password, then send the same request with a new key and the `Koban-Step-Up` header.",
        ),
        Refusal::ReviewRequired => (
            "お支払いの前に確認が必要です",
            "the payment needs a review before it can be made",
            "確認が済んでから、新しいキーでお支払いください。",
            "Wait for the operator's review, then pay with a new key.",
        ),
        Refusal::ChannelNotAvailable => (
            "このチャネルは現在使えません",
            "this channel is not available",
            "別のチャネルを使うか、後ほど新しいキーでお試しください。",
            "Use another channel, or try later with a new key.",
        ),
        Refusal::NotVerified => (
            "本人確認が済んでいません",
            "the user's identity is not verified",
            "本人確認の後、新しいキーでお試しください。",
            "Verify the identity first, then try with a new key.",
        ),
        Refusal::ReceiverNotVerified => (
            "受け手はまだ送金を受け取れません",
            "the receiver cannot take transfers yet",
            "受け手の本人確認が済んでから、新しいキーでお送りください。",
            "The receiver must be verified; then send with a new key.",
        ),
        Refusal::AlreadyVerified => (
            "本人確認は済んでいます",
            "the user is verified already",
            "何もする必要はありません。",
            "Nothing needs to be done.",
        ),
        Refusal::RateNotAvailable => (
            "この通貨は現在両替できません",
            "these currencies cannot be exchanged at the moment",
            "運営が新しい相場を設定してから、新しいキーでお試しください。",
            "Try with a new key once the operator has set a new reference; `GET /v1/exchange-rates` says what there is.",
        ),
        Refusal::RateChanged => (
            "相場が変わりました",
            "the rate has changed",
            "新しい相場を確かめて、新しいキーでお試しください。",
            "Show the user the rate of `GET /v1/exchange-rates` and ask again with a new key.",
        ),
        Refusal::AmountTooSmall => (
            "金額が小さすぎます",
            "the amount is worth less than the smallest unit of the other currency",
            "もっと大きい金額を指定してください。",
            "Exchange a larger amount.",
        ),
        Refusal::RepaymentDue => (
            "お支払いいただく不足額があります",
            "an amount is due for repayment",
            "先にチャージしてください。チャージは不足額に充てられます。",
            "Charge the wallet first; the charge repays what is due.",
        ),
        Refusal::MerchantReferenceUsed => (
            "この加盟店参照番号は使われています",
            "the merchant reference is used by another payment",
            "支払いごとに異なる参照番号を使ってください。",
            "Use a reference of its own for each payment.",
        ),
        Refusal::ReviewClosed => (
            "この審査は終わっています",
            "the review was decided before or has ended",
            "審査の結果を読み直してください。",
            "Read the review again to see what came of it.",
        ),
        Refusal::PaymentInReview => (
            "この支払いは審査中です",
            "the payment is in review",
            "審査が済んでから、新しいキーでお試しください。",
            "Wait for the operator's decision, then try with a new key.",
        ),
        Refusal::HoldExpired => (
            "与信の期限が切れています",
            "the hold has expired",
            "もう一度、お支払いの承認を受けてください。",
            "Have the payer authorise a new payment.",
        ),
        Refusal::HoldEnded => (
            "この支払いの与信は終わっています",
            "nothing of this payment is held any more",
            "支払いの状態を読み直してください。",
            "Read the payment to see what became of it.",
        ),
        Refusal::NotExpired => (
            "まだ期限が来ていません",
            "its time has not run out",
            "期限が来るまでお待ちください。",
            "Wait until its time has run out.",
        ),
        Refusal::ReferenceUsed => (
            "提携先の参照番号は使われています",
            "the partner's reference was used before",
            "入金済みです。同じ入金を二度計上することはできません。",
            "It was booked before; the same money is not booked twice.",
        ),
        Refusal::ReferenceTombstoned => (
            "提携先の参照番号は取り消されています",
            "the partner's reference was reversed before it was credited",
            "この参照番号では入金できません。",
            "Nothing can be credited under this reference.",
        ),
        Refusal::ReferenceCredited => (
            "提携先の参照番号は入金済みです",
            "the partner's reference was credited",
            "取り消すには、入金の取消を行ってください。",
            "Reverse the credit instead.",
        ),
        Refusal::CreditNotFound => (
            "入金が見つかりません",
            "there is no such credit",
            "入金の参照番号を確かめてください。",
            "Check the credit's reference.",
        ),
        Refusal::ReversalExceedsCredit => (
            "取消額が入金額を超えています",
            "more would be reversed than was credited",
            "入金額以下で取り消してください。",
            "Reverse at most what was credited.",
        ),
        Refusal::CaptureExceedsHold => (
            "与信額を超えています",
            "more would be captured than is held",
            "支払いの残りの与信額を確かめてください。",
            "Read the payment and capture at most what is held.",
        ),
        Refusal::RefundExceedsPayment => (
            "返金額が支払い額を超えています",
            "more would be refunded than was paid",
            "返金できる残額は支払いの `refundable` にあります。",
            "The payment's `refundable` says how much is left to give back.",
        ),
        Refusal::LossBudgetExhausted => (
            "チャネルの損失枠を使い切りました",
            "the channel's loss budget is used up",
            "運営が枠を見直すまで、別のチャネルをお使いください。",
            "Use another channel until an operator has looked at this one.",
        ),
        Refusal::ExposureCapReached => (
            "チャネルの上限に達しました",
            "the channel's exposure cap is reached",
            "提携先の精算が済むまで、別のチャネルをお使いください。",
            "Use another channel until the partner's settlement is matched.",
        ),
        Refusal::AmountLimit => (
            "一回の限度額を超えています",
            "the amount is over the limit for one time",
            "限度額以下に分けてください。",
            "Use a smaller amount.",
        ),
        Refusal::DayLimit => (
            "一日の限度額を超えています",
            "the amount is over what is left of the day's limit",
            "少ない金額にするか、明日（日本時間）お試しください。",
            "Use a smaller amount, or wait for the next day in Japan.",
        ),
        Refusal::MonthLimit => (
            "一か月の限度額を超えています",
            "the amount is over what is left of the month's limit",
            "少ない金額にするか、来月（日本時間）お試しください。",
            "Use a smaller amount, or wait for the next month in Japan.",
        ),
        Refusal::BalanceLimit => (
            "残高の上限を超えます",
            "the wallet would hold more than its balance limit",
            "先に残高をお使いいただくか、本人確認を行ってください。",
            "Spend some of the balance first, or verify the identity for a higher limit.",
        ),
        Refusal::InsufficientFunds => (
            "残高が足りません",
            "the balance is too low",
            "チャージの後、新しいキーでお試しください。",
            "Charge the wallet, then try with a new key.",
        ),
        Refusal::PositionLimit => (
            "この金額は現在両替できません",
            "the platform cannot exchange this much at the moment",
            "少ない金額にするか、後ほど新しいキーでお試しください。",
            "Exchange a smaller amount, or try later with a new key.",
        ),
        Refusal::MerchantBalanceTooLow => (
            "加盟店の残高と与信枠が足りません",
            "the merchant's balance and credit are too low for this",
            "売上が入ってから、新しいキーでお試しください。運営は与信枠を設定できます。",
            "Try with a new key once the merchant is owed enough; operators can give it credit.",
        ),
        Refusal::DifferenceNotFound => (
            "未処理の差異が見つかりません",
            "there is no open difference or unsettled credit under this reference",
            "参照番号と種別を確かめてください。",
            "Check reference and side.",
        ),
        Refusal::FileUsed => (
            "この精算ファイルは取り込み済みです",
            "this settlement file was taken before",
            "何もする必要はありません。",
            "Nothing needs to be done.",
        ),
        Refusal::CorrelationTaken => (
            "この照合番号は別の手続きのものです",
            "another flow expects this correlation",
            "運営が手続きを確かめてください。",
            "An operator should look at both flows.",
        ),
        Refusal::AuthorisationExceeded => (
            "承認された金額を超えています",
            "the amount is more than was authorised",
            "承認額以下にしてください。",
            "Stay within what the user agreed to.",
        ),
        Refusal::AuthorisationExpired => (
            "承認の期限が切れています",
            "the authorisation has expired",
            "もう一度はじめから手続きしてください。",
            "Begin again.",
        ),
        Refusal::Overflow => (
            "金額が大きすぎます",
            "the amount is too large for the books",
            "少ない金額にしてください。",
            "Use a smaller amount.",
        ),
        Refusal::PathNotAllowed => (
            "この記帳は許されていません",
            "the books allow no such posting",
            "`request_id` を運営にお知らせください。",
            "Tell the operator the `request_id`: this is a mistake of the host.",
        ),
    };
    (words(ja, en), words(next_ja, next_en))
}
